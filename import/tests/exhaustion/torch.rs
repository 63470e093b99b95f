//! PyTorch: tensors that share one list of strides.

use super::within_limits;
use mbvc_import::{ReadOptions, read_bytes};

/// A pickle from before PyTorch 1.6, with no storages.
fn legacy(program: &[u8]) -> Vec<u8> {
    let head = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.";
    [&head[..], b"\x80\x02", program, b".\x80\x02]."].concat()
}

/// Many tensors share one list of strides, whose length does not match their sizes.
#[test]
fn names_of_tensors_with_long_strides() {
    const STRIDES: usize = 400_000;
    const NAMES: usize = 16_000;
    let storage = b"(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x04tQ";
    let strides = [&b"("[..], &b"K\x01".repeat(STRIDES), b"t"].concat();
    let tensor =
        [b"ctorch._utils\n_rebuild_tensor_v2\n(", &storage[..], b"K\0K\x04\x85", &strides, b"\x89)tR"].concat();
    let mut entries = Vec::new();
    for name in 0..NAMES as u32 {
        entries.extend([&b"J"[..], &name.to_le_bytes(), b"h\0"].concat());
    }
    let program = [&tensor[..], b"q\x000}(", &entries, b"u"].concat();
    let error =
        within_limits(|| read_bytes(&legacy(&program), "m.pth", &ReadOptions::default())).unwrap_err().to_string();
    assert!(error.contains("unknown tensor names"), "{error}");
}
