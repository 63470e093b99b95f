//! Several files in one input: weights, then `config.json` and `preprocessor_config.json`; or `model.json`, then a shard and
//! `metadata.json`; or ONNX, then its external data.

/// Separator of the files.
pub const MARK: &[u8] = b"\n=====\n";

/// Returns the files between separators.
pub fn split(bytes: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(MARK.len()).position(|window| window == MARK) {
        pieces.push(&rest[..at]);
        rest = &rest[at + MARK.len()..];
    }
    pieces.push(rest);
    pieces
}
