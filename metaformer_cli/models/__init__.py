"""Transformer backbones and heads. Models know tensors, never episodes."""
