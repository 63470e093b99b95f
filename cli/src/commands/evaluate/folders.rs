//! Images sorted into one folder per class.

use std::path::{Path, PathBuf};

use mbvc_import::Labels;

use crate::error::{CliError, Result};
use crate::files;

/// Number of folders or labels that a message lists.
const NAMED: usize = 5;

/// The images of a class.
#[derive(Debug, PartialEq, Eq)]
pub struct Folder {
    pub name: String,
    /// The class; several if a label occurs more than once, as `crane` of ImageNet does.
    pub classes: Vec<usize>,
    pub images: Vec<PathBuf>,
}

/// The folders in `root`, in the order of the classes.
///
/// # Errors
/// If there is no folder, the name of one is not a class, or one contains no images.
pub fn find(root: &Path, labels: &[String], classes: usize) -> Result<Vec<Folder>> {
    const HELP: &str = "pass a folder with one subfolder of images per class, named after the label of the class";
    if root.exists() && !root.is_dir() {
        return Err(CliError::new(format!("{} is not a folder", root.display())).help(HELP));
    }
    let entries = std::fs::read_dir(root).map_err(|cause| CliError::io("read", root, &cause).help(HELP))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|cause| CliError::io("read", root, &cause))?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !hidden {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.is_empty() {
        return Err(CliError::new(format!("{} contains no folders", root.display()))
            .help("sort the images into one folder per class, named by its label"));
    }
    let ids = Labels::wordnet_ids(labels).unwrap_or_default();
    let classes_of = |name: &str| match classes_of(name, labels, classes) {
        found if found.is_empty() => ids.iter().position(|id| *id == name).into_iter().collect(),
        found => found,
    };
    let named = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let unknown_names: Vec<_> =
        paths.iter().map(|path| named(path)).filter(|name| classes_of(name).is_empty()).collect();
    if !unknown_names.is_empty() {
        return Err(unknown(root, &unknown_names, labels, classes));
    }
    let folder = |path: PathBuf| {
        let name = named(&path);
        let images = files::images(&[path], true)?;
        Ok(Folder { classes: classes_of(&name), name, images })
    };
    let mut folders = paths.into_iter().map(folder).collect::<Result<Vec<_>>>()?;
    folders.sort_by_key(|folder| folder.classes.first().copied());
    twice(root, &folders).map_or(Ok(folders), Err)
}

/// Returns the classes that a folder's name denotes: those with this label, else the one with this word in its label
/// (labels of ImageNet are lists, `hotdog, hot dog, red hot`), else the one with this number.
fn classes_of(name: &str, labels: &[String], classes: usize) -> Vec<usize> {
    let those = |same: &dyn Fn(&str) -> bool| -> Vec<usize> {
        labels.iter().take(classes).enumerate().filter(|(_, label)| same(label)).map(|(index, _)| index).collect()
    };
    let is_name = |word: &str| file_name(word).eq_ignore_ascii_case(name);
    let of_label = those(&is_name);
    if !of_label.is_empty() {
        return of_label;
    }
    // A word of several labels is ambiguous: `crane` is a bird and a machine.
    let of_word = those(&|label| label.split(',').any(is_name));
    match (name.parse(), of_word.len()) {
        (_, 1) => of_word,
        (Ok(index), _) if index < classes => vec![index],
        _ => Vec::new(),
    }
}

/// A label as the name of a folder.
fn file_name(label: &str) -> String {
    label.trim().replace(['/', '\\'], "_")
}

fn unknown(root: &Path, names: &[String], labels: &[String], classes: usize) -> CliError {
    let shown: Vec<_> = names.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let error = CliError::new(format!("{}: no class is named {}{more}", root.display(), shown.join(", ")));
    match labels {
        [] => error.help(format!(
            "the weights have no labels: name folders by class number, 0 to {}, or import with --labels FILE",
            classes.saturating_sub(1)
        )),
        labels => {
            let some: Vec<_> = labels.iter().take(NAMED).map(|label| format!("`{}`", file_name(label))).collect();
            error
                .help(format!("the weights have {} classes: {}, ...", labels.len(), some.join(", ")))
                .help("rename these folders or move them away; `mbvc inspect --json` lists all labels")
        }
    }
}

/// An error if two folders belong to one class: the report could not attribute them.
fn twice(root: &Path, folders: &[Folder]) -> Option<CliError> {
    let pair = folders.windows(2).find_map(|pair| match pair {
        [one, other] if one.classes == other.classes => Some((&one.name, &other.name)),
        _ => None,
    });
    pair.map(|(one, other)| {
        CliError::new(format!("{}: the folders `{one}` and `{other}` are the same class", root.display()))
            .help("merge them into one folder")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(names: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::create_dir_all(root.path().join(name)).unwrap();
            std::fs::write(root.path().join(name).join("one.png"), "").unwrap();
        }
        root
    }

    fn labels() -> Vec<String> {
        ["crane", "AC/DC", "dog", "crane", "7"].map(str::to_owned).to_vec()
    }

    #[test]
    fn folders_are_named_by_label_or_number() {
        let root = sorted(&["Dog", "crane", "ac_dc", "5", "7", ".git"]);
        std::fs::write(root.path().join("notes.txt"), "").unwrap();
        let found = find(root.path(), &labels(), 6).unwrap();
        let found: Vec<_> = found.iter().map(|folder| (folder.name.as_str(), folder.classes.as_slice())).collect();
        let expected: [(&str, &[usize]); 5] =
            [("crane", &[0, 3]), ("ac_dc", &[1]), ("Dog", &[2]), ("7", &[4]), ("5", &[5])];
        assert_eq!(found, expected, "in the order of the classes; a label that is a number has precedence");
    }

    #[test]
    fn folders_of_imagenet_are_named_by_wordnet_id() {
        let root = sorted(&["n02123045", "n01440764", "hotdog"]);
        let found = |classes: usize| -> Vec<(String, Vec<usize>)> {
            let labels = Labels::imagenet(classes).unwrap();
            let found = find(root.path(), labels.names(), classes).unwrap();
            found.into_iter().map(|folder| (folder.name, folder.classes)).collect()
        };
        let expected = |first: usize| {
            [("n01440764", 0), ("n02123045", 281), ("hotdog", 934)]
                .map(|(name, at)| (name.to_owned(), vec![at + first]))
        };
        assert_eq!(found(1000), expected(0));
        assert_eq!(found(1001), expected(1));
        assert!(find(root.path(), &labels(), 5).is_err(), "other labels");
    }

    #[test]
    fn a_word_of_a_label_is_enough() {
        let labels = ["hotdog, hot dog", "crane", "crane, lifting machine", "drake, crane"].map(str::to_owned);
        assert_eq!(classes_of("Hot Dog", &labels, 4), [0]);
        assert_eq!(classes_of("lifting machine", &labels, 4), [2]);
        assert_eq!(classes_of("crane", &labels, 4), [1], "the whole label has precedence");
        assert!(classes_of("crane", &labels[2..], 2).is_empty(), "two labels have the word");
        assert_eq!(classes_of("3", &labels, 4), [3]);
    }

    #[test]
    fn images_of_subfolders_belong_to_the_class() {
        let root = sorted(&["dog", "dog/small"]);
        assert_eq!(find(root.path(), &labels(), 5).unwrap()[0].images.len(), 2);
    }

    #[test]
    fn rejects_folders_that_are_not_classes() {
        let refused = |root: &tempfile::TempDir, labels: &[String]| {
            let CliError::Message { message, help, .. } = find(root.path(), labels, 5).unwrap_err() else {
                panic!("another error")
            };
            format!("{message}\n{}", help.join("\n"))
        };
        let said = refused(&sorted(&["cat", "dog", "a", "b", "c", "d", "e"]), &labels());
        assert!(said.contains("no class is named `a`, `b`, `c`, `cat`, `d` and 1 more"), "{said}");
        assert!(said.contains("the weights have 5 classes: `crane`, `AC_DC`"), "{said}");
        let said = refused(&sorted(&["cat"]), &[]);
        assert!(said.contains("no labels") && said.contains("0 to 4"), "{said}");
        assert!(refused(&sorted(&[]), &labels()).contains("contains no folders"));
        assert!(refused(&sorted(&["dog", "2"]), &labels()).contains("are the same class"));
        let root = sorted(&["dog"]);
        std::fs::remove_file(root.path().join("dog/one.png")).unwrap();
        assert!(refused(&root, &labels()).contains("contains no images"));
        let absent = find(Path::new("no/such"), &labels(), 5).unwrap_err();
        assert_eq!(absent.to_string(), "cannot read no/such: no such file");
    }
}
