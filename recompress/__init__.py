"""Turn one gzip image manifest into its zstd:chunked twin, in the registry, and prove it.

The stable interface is the command: its options, exit codes, results, and the JSON of `--output json`,
which has a schema with a version. The modules are not: their names and signatures change with any release.
A program in Python runs the command, and reads its JSON.
"""

__version__ = "0.1.0"
