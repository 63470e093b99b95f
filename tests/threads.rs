//! Many threads share one model, each with a separate scratch.

mod common;

use std::sync::{Arc, Barrier};

use common::{bits, random_image, random_weights};
use mbvc::Network;
use mbvc_test_networks::tiny::TinyNet;

const N: usize = 32 * 32 * 3;
const THREADS: usize = 4;
const IMAGES: u64 = 24;

#[test]
fn shared_models_give_the_same_bits() {
    let model = TinyNet::new(&random_weights(TinyNet::INFO, 5)).expect("the weights fit the network");
    let mut scratch = TinyNet::scratch();
    let alone: Vec<_> = (0..IMAGES).map(|seed| bits(&model.run(&mut scratch, &random_image::<N>(seed)))).collect();
    assert_ne!(alone[0], alone[1], "the images differ in their logits");

    let start = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        let (model, start) = (&model, &start);
        let work = move |thread: usize| {
            let mut scratch = TinyNet::scratch();
            start.wait();
            // Every thread starts with a different image.
            let order = (0..IMAGES).map(|image| (image + thread as u64 * 5) % IMAGES);
            order.map(|seed| (seed, bits(&model.run(&mut scratch, &random_image::<N>(seed))))).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || work(thread))).collect();
        for thread in threads {
            for (seed, found) in thread.join().expect("no thread panics") {
                assert_eq!(found, alone[seed as usize], "image {seed}");
            }
        }
    });
}

#[test]
fn models_behind_the_trait_are_shared() {
    let weights = random_weights(TinyNet::INFO, 5);
    let model: Arc<dyn Network> = Arc::new(TinyNet::new(&weights).expect("the weights fit the network"));
    let expected = common::run_filled(&*model, &random_image::<N>(1)[..], 0.0);
    let clone = Arc::clone(&model);
    let found = std::thread::spawn(move || common::run_filled(&*clone, &random_image::<N>(1)[..], 0.0)).join();
    assert_eq!(bits(&found.expect("no thread panics")), bits(&expected));
}
