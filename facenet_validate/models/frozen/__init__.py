"""TensorFlow frozen graphs → ONNX, without TensorFlow."""
