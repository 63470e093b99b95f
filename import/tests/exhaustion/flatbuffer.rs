//! As much of writing flatbuffers as a hostile file takes: tables of offsets that are filled in later.

/// A file that grows; whatever is written lies behind all that was written before.
#[derive(Default)]
pub struct Flatbuffer {
    pub bytes: Vec<u8>,
}

impl Flatbuffer {
    /// A table of words, absent where `None`; gives where it is and where its words are.
    pub fn table(&mut self, words: &[Option<u32>]) -> (usize, Vec<usize>) {
        let vtable = self.bytes.len();
        let present = words.iter().flatten().count();
        self.half(4 + 2 * words.len());
        self.half(4 + 4 * present);
        let mut at = 4;
        for word in words {
            self.half(if word.is_some() { at } else { 0 });
            at += if word.is_some() { 4 } else { 0 };
        }
        let table = self.bytes.len();
        self.word((table - vtable) as u32);
        let places = words.iter().flatten().map(|word| self.word(*word)).collect();
        (table, places)
    }

    /// A vector of words; gives where it is and where they are.
    pub fn vector(&mut self, words: &[u32]) -> (usize, Vec<usize>) {
        let start = self.word(words.len() as u32);
        (start, words.iter().map(|word| self.word(*word)).collect())
    }

    /// Lets the offset at `place` lead to `target`, which lies behind it.
    pub fn point(&mut self, place: usize, target: usize) {
        let offset = u32::try_from(target - place).unwrap();
        self.bytes[place..place + 4].copy_from_slice(&offset.to_le_bytes());
    }

    pub fn word(&mut self, word: u32) -> usize {
        self.bytes.extend(word.to_le_bytes());
        self.bytes.len() - 4
    }

    fn half(&mut self, half: usize) {
        self.bytes.extend(u16::try_from(half).unwrap().to_le_bytes());
    }
}
