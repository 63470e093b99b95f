//! A minimal writer of hostile flatbuffers: tables of offsets that are filled in later.

/// A growing file: everything is appended.
#[derive(Default)]
pub struct Flatbuffer {
    pub bytes: Vec<u8>,
}

impl Flatbuffer {
    /// Appends a table of words, which are absent if `None`. Returns its position and those of its words.
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

    /// Appends a vector of words. Returns its position and that of the words.
    pub fn vector(&mut self, words: &[u32]) -> (usize, Vec<usize>) {
        let start = self.word(words.len() as u32);
        (start, words.iter().map(|word| self.word(*word)).collect())
    }

    /// Sets the offset at `place` to the later position `target`.
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
