// The one source of each precompiled header; the header is what it is for.
