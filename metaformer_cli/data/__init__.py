"""Where examples come from: files, presets, the hub, the built-in corpus; and the tokenizer.

Each source is a marked function that gives a `dataset.Dataset`. Nothing here imports torch.
"""
