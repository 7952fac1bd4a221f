"""Avro as packets need it: a record is validated and read in part, straight from its bytes.

`schema` makes a schema plain, `differences` compares two. `validate` and `read` compile a schema into functions over
bytes; both rest on `numbers` and `patterns`. `fields` are the dotted names of what is read. `container` is the file
around a record. All follows the Avro specification 1.11.
"""
