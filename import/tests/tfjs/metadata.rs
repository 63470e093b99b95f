//! `metadata.json` of Teachable Machine.

use mbvc_import::{Imported, Labels};

use super::Model;

#[test]
fn metadata_of_teachable_machine_is_used() {
    let plain = Model::of("teachable_machine");
    let mut imported = plain.read().unwrap();
    let metadata = |imported: &Imported, key: &str| imported.container.metadata.get(key).cloned();
    assert_eq!(metadata(&imported, "mbvc.labels").as_deref(), Some("Flask\nCup\nNothing"));
    let scale = (1.0f32 / 127.0).to_string();
    assert_eq!(
        metadata(&imported, "mbvc.preprocessing").unwrap(),
        format!("scale {scale} {scale} {scale} offset -1 -1 -1")
    );
    assert_eq!(metadata(&imported, "mbvc.framing").as_deref(), Some("crop 32/32 bilinear"));
    for (key, how) in
        [("labels", "metadata.json"), ("preprocessing", "divides pixels by 127"), ("framing", "center square")]
    {
        let fact = imported.facts.iter().find(|fact| fact.key == key).unwrap();
        assert!(fact.how.contains(how), "{fact:?}");
    }
    imported.set_labels(&Labels::parse(b"a\nb\nc\n", "labels.txt").unwrap()).unwrap();
    assert_eq!(metadata(&imported, "mbvc.labels").as_deref(), Some("a\nb\nc"));

    let with = |from: &str, to: &str| {
        let mut model = plain.clone();
        let (_, file) = model.files.iter_mut().find(|(name, _)| name == "metadata.json").unwrap();
        let text = String::from_utf8(file.clone()).unwrap();
        assert!(text.contains(from), "{text}");
        *file = text.replace(from, to).into_bytes();
        model.read()
    };
    let note = |from: &str, to: &str| {
        let imported = with(from, to).unwrap();
        assert_eq!(metadata(&imported, "mbvc.labels"), None);
        imported.notes.join("\n")
    };
    assert!(note("Cup", "").contains("metadata.json is ignored: a label is empty"));
    assert!(note("{", "[").contains("metadata.json is ignored"));
    assert!(
        note("teachablemachine/image", "teachablemachine/pose")
            .contains("metadata.json is ignored: it is of the package")
    );
    assert!(note(",\"Nothing\"", "").contains("metadata.json has 2 labels for 3 classes"));
    let error = |from: &str, to: &str| with(from, to).map(|imported| imported.facts).unwrap_err();
    assert!(error("\"imageSize\":32", "\"imageSize\":64").contains("the size of the images differs from the input"));
    assert!(error("\"imageSize\":32", "\"imageSize\":32,\"grayscale\":true").contains("gray images"));
    // A model that scales its input is not of Teachable Machine.
    let mut pixels = Model::of("graph_pixels");
    let text = r#"{"packageName": "@teachablemachine/image", "labels": ["a", "b"], "imageSize": 32}"#;
    pixels.files.push(("metadata.json".into(), text.into()));
    pixels.json["modelTopology"]["node"].as_array_mut().unwrap().iter_mut().for_each(|node| {
        if node["op"] == "Placeholder" {
            node["attr"]["shape"]["shape"]["dim"][2]["size"] = "32".into();
        }
    });
    assert!(
        pixels.error().contains("the model contains preprocessing, and Teachable Machine preprocesses images too"),
        "{}",
        pixels.error()
    );
}
