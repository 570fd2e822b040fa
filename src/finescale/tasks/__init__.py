"""The tasks: where source texts, targets and their splits come from."""
