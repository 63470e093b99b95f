//! Names of files as text from which the name can be restored.

use std::path::Path;

/// The path as text. A byte that is not UTF-8 becomes `\xNN`, and a backslash `\\`, so that different names have
/// different texts.
#[cfg(unix)]
pub fn of(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        text += &chunk.valid().replace('\\', "\\\\");
        chunk.invalid().iter().for_each(|byte| text += &format!("\\x{byte:02x}"));
    }
    text
}

/// The path as text. Backslashes separate folders here, and names are Unicode.
#[cfg(not(unix))]
pub fn of(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(all(test, unix))]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    /// Restores the bytes as the help describes it.
    fn bytes(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut parts = text.split('\\');
        bytes.extend(parts.next().unwrap().bytes());
        while let Some(part) = parts.next() {
            if part.is_empty() {
                bytes.push(b'\\');
                bytes.extend(parts.next().unwrap().bytes());
            } else {
                let (digits, rest) = part.strip_prefix('x').unwrap().split_at(2);
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                bytes.extend(rest.bytes());
            }
        }
        bytes
    }

    #[test]
    fn names_can_be_restored() {
        for (name, text) in [
            (&b"photos/caf\xc3\xa9.jpg"[..], "photos/café.jpg"),
            (b"caf\xe9.jpg", "caf\\xe9.jpg"),
            (b"\xff\xfe", "\\xff\\xfe"),
            (b"\xe2\x82", "\\xe2\\x82"),
            (b"caf\\xe9.jpg", "caf\\\\xe9.jpg"),
            (b"\\", "\\\\"),
            (b"a\\\xffb", "a\\\\\\xffb"),
            (b"", ""),
        ] {
            let found = of(Path::new(OsStr::from_bytes(name)));
            assert_eq!((found.as_str(), bytes(&found)), (text, name.to_vec()));
        }
    }
}
