//! Classification of pictures of any size: framing, preprocessing and labels follow from the weights.

mod common;

use common::{Steps, random_weights, with_metadata};
use mbvc::errors::PictureError;
use mbvc::picture::Framing;
use mbvc::{Network, Rgb, softmax};
use mbvc_test_networks::tiny::{Int8 as TinyInt8, TinyNet as Tiny};

const SIDE: usize = 32;

/// A gradient with edges, `[height, width, 3]`.
fn picture([height, width]: [usize; 2]) -> Vec<u8> {
    let pixel = |at| {
        let (y, x) = (at / width, at % width);
        [(x * 255 / width) as u8, (y * 255 / height) as u8, if (x / 7 + y / 5) % 2 == 0 { 250 } else { 5 }]
    };
    (0..height * width).flat_map(pixel).collect()
}

#[test]
fn a_picture_is_framed_and_named_as_the_weights_ask_for() {
    let labels: Vec<String> = (0..Tiny::CLASSES).map(|class| format!("kind {class}")).collect();
    let plain = random_weights(Tiny::INFO, 3);
    for framing in ["squash bicubic", "crop 40/32 bilinear"] {
        let metadata = [("mbvc.framing", framing.to_owned()), ("mbvc.labels", labels.join("\\n"))];
        let model = Tiny::new(&with_metadata(&plain, &metadata)).unwrap();
        assert_eq!(model.labels(), labels);
        let size = [50, 70];
        let picture = Rgb::new(picture(size), size).unwrap();
        let guesses = model.classify(&picture).unwrap();

        let pixels = Framing::parse(framing).unwrap().frame(&picture, [SIDE, SIDE, 3]);
        assert_eq!(model.frame(&picture).unwrap()[..], pixels);
        let mut expected = model.run_pixels(&mut Tiny::scratch(), pixels.as_slice().try_into().unwrap());
        softmax(&mut expected);
        assert_eq!(guesses.len(), Tiny::CLASSES);
        assert!(guesses.is_sorted_by(|a, b| a.score >= b.score));
        for guess in &guesses {
            assert_eq!(guess.score.to_bits(), expected[guess.class].to_bits());
            assert_eq!(guess.label, Some(&*labels[guess.class]));
        }
        let best = guesses[0];
        assert_eq!(best.to_string(), format!("kind {} {:.1} %", best.class, best.score * 100.0));
    }
}

#[test]
fn weights_without_names_squash_and_count() {
    let model = Tiny::new(&random_weights(Tiny::INFO, 4)).unwrap();
    assert!(model.labels().is_empty());
    let picture = Rgb::new(picture([SIDE, SIDE]), [SIDE, SIDE]).unwrap();
    let best = model.classify(&picture).unwrap()[0];
    assert_eq!(best.label, None);
    assert!(best.to_string().starts_with(&format!("class {} ", best.class)));
}

#[test]
fn quantized_networks_classify_too() {
    let model = TinyInt8::new(&random_weights(TinyInt8::INFO, 5)).unwrap();
    let picture = Rgb::new(picture([SIDE, SIDE]), [SIDE, SIDE]).unwrap();
    let guesses = model.classify(&picture).unwrap();
    let logits = model.run_pixels(&mut TinyInt8::scratch(), picture.pixels().try_into().unwrap());
    let mut expected = model.dequantize(&logits);
    softmax(&mut expected);
    assert_eq!(guesses[0].score, expected.into_iter().fold(0.0, f32::max));
}

#[test]
fn quantized_networks_embed_what_they_classify() {
    let model = TinyInt8::new(&random_weights(TinyInt8::INFO, 5)).unwrap();
    let pixels = model.frame(&Rgb::new(picture([40, 30]), [40, 30]).unwrap()).unwrap();
    let mut steps = Steps::default();
    let mut scratch = TinyInt8::scratch();
    let (mut logits, mut observer) = ([0.0; TinyInt8::CLASSES], &mut steps);
    model.run_pixels_into(scratch.floats_mut(), &pixels[..], &mut logits, &mut observer).unwrap();
    let [.., embedding, _] = &steps.0[..] else { panic!("{} steps", steps.0.len()) };
    let found = model.embed_pixels(&mut scratch, &pixels).map(|number| (i16::from(number) + 128) as u8);
    assert_eq!(found[..], embedding[..]);
    assert!(found.iter().any(|byte| *byte != found[0]));
}

#[test]
fn reports_a_framing_of_another_version() {
    let weights = random_weights(Tiny::INFO, 3);
    let text = String::from_utf8_lossy(weights.as_bytes()).find("\"__metadata__\":{");
    assert!(text.is_some(), "metadata in the header");
    let result = std::panic::catch_unwind(|| with_metadata(&weights, &[("mbvc.framing", "stretch".into())]));
    let message = *result.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("mbvc.framing") && message.contains("crop SCALED/KEPT"), "{message}");
}

#[test]
fn rejects_empty_pictures() {
    assert_eq!(Rgb::new(Vec::new(), [0, 3]).unwrap_err(), PictureError { size: [0, 3], bytes: 0 });
}
