"""How to adapt to an episode, and how to get a meta-gradient: MAML, its kin, and baselines."""
