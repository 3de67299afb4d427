"""ONNX Runtime: engines on its CPU provider and on its CUDA provider."""
