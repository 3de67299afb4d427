"""ONNX of any exporter → canonical ONNX."""
