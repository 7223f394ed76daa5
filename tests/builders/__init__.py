"""What tests build on: small networks, queries, records and files, each made in one place."""
