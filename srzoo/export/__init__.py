"""Models as files that run without srzoo: ONNX, ``torch.export`` programs, and AOTInductor packages."""
