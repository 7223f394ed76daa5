"""What every other package stands on: errors with advice, strict records, safe files, plug-ins, paths."""
