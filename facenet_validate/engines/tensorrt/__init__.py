"""TensorRT and TensorRT for RTX: from a typed ONNX graph to a plan in the cache."""
