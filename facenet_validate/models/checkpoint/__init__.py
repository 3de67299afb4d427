"""facenet-pytorch checkpoints → ONNX."""
