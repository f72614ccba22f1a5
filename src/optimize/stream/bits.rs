//! Floating-point numbers saved as the integers that hold their bits: infinities and the last digit
//! survive every format.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of either precision.
pub(super) trait Bits: Copy {
    type Integer: Serialize + for<'de> Deserialize<'de>;
    fn bits(self) -> Self::Integer;
    fn value(bits: Self::Integer) -> Self;
}

impl Bits for f64 {
    type Integer = u64;
    fn bits(self) -> u64 {
        self.to_bits()
    }
    fn value(bits: u64) -> Self {
        f64::from_bits(bits)
    }
}

impl Bits for f32 {
    type Integer = u32;
    fn bits(self) -> u32 {
        self.to_bits()
    }
    fn value(bits: u32) -> Self {
        f32::from_bits(bits)
    }
}

pub(super) fn serialize<T: Bits, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    value.bits().serialize(to)
}

pub(super) fn deserialize<'de, T: Bits, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    T::Integer::deserialize(from).map(T::value)
}

/// Lists of them.
pub(super) mod list {
    use super::{Bits, Deserialize, Deserializer, Serializer};

    pub(in super::super) fn serialize<T: Bits, S: Serializer>(list: &[T], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(list.iter().map(|value| value.bits()))
    }

    pub(in super::super) fn deserialize<'de, T: Bits, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<T>, D::Error> {
        Ok(Vec::<T::Integer>::deserialize(from)?.into_iter().map(T::value).collect())
    }
}
