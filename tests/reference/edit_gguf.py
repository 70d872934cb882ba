"""A GGUF file with some metadata and tensors changed, written by the Python package gguf."""
import gguf
import numpy as np


def edit(source, out, metadata=None, drop=(), tensors=None):
    """metadata: {key: (value, type) or (list, gguf.GGUFValueType.ARRAY, element type)}; drop: keys and tensors to leave out;
    tensors: {name: array of float32}, which may replace those of the file."""
    reader = gguf.GGUFReader(source)
    metadata, tensors = metadata or {}, tensors or {}
    writer = gguf.GGUFWriter(out, reader.fields["general.architecture"].contents(), use_temp_file=True)
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture" or key in metadata or key in drop:
            continue
        sub = field.types[1] if len(field.types) > 1 else None
        writer.add_key_value(key, field.contents(), field.types[0], sub_type=sub)
    for key, (value, kind, *sub) in metadata.items():
        writer.add_key_value(key, value, kind, sub_type=sub[0] if sub else None)
    for tensor in reader.tensors:
        if tensor.name not in tensors and tensor.name not in drop:
            writer.add_tensor(tensor.name, np.array(tensor.data), raw_dtype=tensor.tensor_type)
    for name, values in tensors.items():
        writer.add_tensor(name, np.asarray(values, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out
