"""Avro as packets need it: a record is validated and read in part, straight from its bytes.

`schema` simplifies a schema, `differences` compares two. `validate` and `read` compile a schema into functions over
bytes; both use `numbers` and `patterns`. `fields` has the dotted names of the fields to read. `container` is the file
around a record. All modules follow the Avro specification 1.11.
"""
