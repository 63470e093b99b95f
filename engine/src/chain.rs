//! An append-only list that a `static` can hold.

use std::sync::OnceLock;

/// An append-only list, whose items live as long as the list.
pub struct Chain<T>(OnceLock<Box<(T, Self)>>);

impl<T> Chain<T> {
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Appends a value and returns a reference to it.
    pub fn push(&self, value: T) -> &T {
        let mut value = Some(value);
        let mut at = self;
        loop {
            let link = || Box::new((value.take().expect("is moved into one link only"), Self::new()));
            let (item, rest) = &**at.0.get_or_init(link);
            if value.is_none() {
                return item;
            }
            at = rest;
        }
    }

    /// The values, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        std::iter::successors(self.0.get(), |link| link.1.0.get()).map(|link| &link.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Chain;

    #[test]
    fn items_stay_where_they_are() {
        let chain = Chain::new();
        let first = chain.push(1);
        std::thread::scope(|scope| {
            for value in 2..6 {
                let chain = &chain;
                scope.spawn(move || assert_eq!(*chain.push(value), value));
            }
        });
        let mut all: Vec<i32> = chain.iter().copied().collect();
        assert_eq!((all[0], chain.iter().next().map(std::ptr::from_ref)), (1, Some(std::ptr::from_ref(first))));
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3, 4, 5]);
    }
}
