"""The words that both wings share: what a study may declare, what a run is, how files are read."""
