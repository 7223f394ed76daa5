"""Saliency maps as networks: the classifier and its own explanation unrolled into one graph."""
