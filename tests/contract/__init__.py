"""One layer of each kind and setting, by family, for the rules that every layer keeps."""
