"""Where examples come from: files, presets, the hub, the built-in corpus; and the tokenizer.

`load.load_dataset` is the door. Nothing here imports torch.
"""
