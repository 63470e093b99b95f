//! Class names and framings.

use mbvc::picture::Framing;
use mbvc_import::Labels;

use crate::memory::bounded;

pub fn labels(bytes: &[u8]) {
    bounded(bytes.len(), || match Labels::parse(bytes, "labels.txt") {
        Ok(labels) => {
            let names = labels.names();
            assert!(!names.is_empty() && labels.check(names.len()).is_ok());
            // They are joined with line breaks in the metadata, and split again.
            let joined = names.join("\n");
            assert!(joined.lines().eq(names.iter().map(String::as_str)), "{names:?}");
            let lines = Labels::parse(joined.as_bytes(), "lines.txt");
            // As text, labels may look like JSON or numbered lines, or begin with a byte order mark.
            if !joined.starts_with(['[', '{', '\u{feff}']) && !joined.starts_with("0 ") {
                let lines = lines.unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(lines.names(), names);
            }
            for classes in [names.len() - 1, names.len() + 1, usize::MAX] {
                assert!(!labels.check(classes).unwrap_err().to_string().is_empty());
            }
        }
        Err(error) => assert!(error.to_string().starts_with("labels.txt"), "{error}"),
    });
}

pub fn framing(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    bounded(bytes.len(), || {
        let Ok(framing) = Framing::parse(text) else { return };
        assert_eq!(Framing::parse(&framing.to_string()), Ok(framing));
        for (height, width) in [(1, 1), (3, 40), (33, 2)] {
            let picture = mbvc::Rgb::new(vec![200; height * width * 3], [height, width]).expect("a whole picture");
            for input in [[1, 1, 3], [8, 5, 1]] {
                assert_eq!(framing.frame(&picture, input), [200].repeat(input.iter().product()), "{framing}");
            }
        }
    });
}
