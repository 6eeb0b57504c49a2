//! Polynomials over GF(2): the one in a repository's `config` decides where files are cut into chunks.
//!
//! Bit `i` of the number is the coefficient of `x^i`; addition is XOR. Whoever writes to a repository must have
//! checked that its polynomial is irreducible and of degree 53: with another, chunks neither spread nor deduplicate.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Invalid;

/// Shown and stored as hex without leading zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Polynomial(pub u64);

/// About one candidate in 27 is irreducible, so this many failures mean that the numbers are not random.
const MAX_CANDIDATES: usize = 100_000;

impl Polynomial {
    /// The degree of every repository's polynomial.
    pub const CHUNKER_DEGREE: u32 = 53;

    /// `None` for the zero polynomial.
    pub fn degree(self) -> Option<u32> {
        self.0.checked_ilog2()
    }

    /// The remainder of the division by `modulus`, which must not be zero.
    pub fn modulo(self, modulus: Self) -> Self {
        let modulus_degree = modulus.degree().expect("a modulus is not zero");
        let mut rest = self;
        while let Some(degree) = rest.degree().filter(|&degree| degree >= modulus_degree) {
            rest.0 ^= modulus.0 << (degree - modulus_degree);
        }
        rest
    }

    /// The product with `other`, modulo `modulus`, which must have a degree from 1 to 63.
    pub fn multiply_modulo(self, other: Self, modulus: Self) -> Self {
        let top = 1 << modulus.degree().expect("a modulus is not zero");
        let mut factor = self.modulo(modulus).0;
        let mut other = other.modulo(modulus).0;
        let mut product = 0;
        while other != 0 {
            if other & 1 != 0 {
                product ^= factor;
            }
            other >>= 1;
            factor <<= 1;
            if factor & top != 0 {
                factor ^= modulus.0;
            }
        }
        Self(product)
    }

    pub fn greatest_common_divisor(self, other: Self) -> Self {
        let (mut a, mut b) = (self, other);
        while b.0 != 0 {
            (a, b) = (b, a.modulo(b));
        }
        a
    }

    /// Ben-Or's test: a polynomial of degree n is irreducible when it has no common divisor with `x^(2^i) - x`,
    /// the product of all irreducible polynomials whose degree divides i, for any i up to n/2.
    pub fn is_irreducible(self) -> bool {
        let Some(degree) = self.degree().filter(|&degree| degree > 0) else {
            return false;
        };
        let x = Self(2);
        let mut power = x;
        (1..=degree / 2).all(|_| {
            power = power.multiply_modulo(power, self);
            self.greatest_common_divisor(Self(power.0 ^ x.0)).degree() == Some(0)
        })
    }

    /// Whether files can be cut with it: irreducible and of degree 53.
    pub fn suits_chunker(self) -> bool {
        self.degree() == Some(Self::CHUNKER_DEGREE) && self.is_irreducible()
    }

    /// A polynomial for a new repository. `random` must be a source fit for secrets: the polynomial is one, as it
    /// keeps the sizes of chunks from telling what is in a file.
    pub fn random(random: &mut dyn FnMut() -> u64) -> Result<Self, Invalid> {
        let top = 1 << Self::CHUNKER_DEGREE;
        (0..MAX_CANDIDATES)
            // The lowest bit is set because all others are divisible by x.
            .map(|_| Self(random() & (top - 1) | top | 1))
            .find(|candidate| candidate.is_irreducible())
            .ok_or_else(|| Invalid::malformed("the random numbers give no irreducible polynomial"))
    }
}

impl fmt::Display for Polynomial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl FromStr for Polynomial {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        // The library would take a sign as well.
        let digits_only = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = if digits_only { u64::from_str_radix(text, 16).ok() } else { None };
        number
            .map(Self)
            .ok_or_else(|| Invalid::malformed(format_args!("{text:?} is not a polynomial in hex")))
    }
}

impl Serialize for Polynomial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Polynomial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_polynomials_are_irreducible_exactly_if_nothing_divides_them() {
        for candidate in 2..4096u64 {
            let divided = (2..candidate).any(|divisor| {
                Polynomial(divisor).degree() < Polynomial(candidate).degree()
                    && Polynomial(candidate).modulo(Polynomial(divisor)).0 == 0
            });
            assert_eq!(Polynomial(candidate).is_irreducible(), !divided, "{candidate:b}");
        }
        assert!(!Polynomial(0).is_irreducible());
        assert!(!Polynomial(1).is_irreducible());
    }

    #[test]
    fn polynomials_of_restic_repositories_suit_the_chunker() {
        for text in ["3da3358b4dc173", "3abc9bff07d99e", "3abc9bff07d9e5"] {
            let polynomial: Polynomial = text.parse().unwrap();
            assert_eq!(polynomial.to_string(), text);
            assert_eq!(polynomial.suits_chunker(), text != "3abc9bff07d99e", "{text}");
        }
        // Irreducible, but of a smaller degree.
        assert!(Polynomial(0b111).is_irreducible() && !Polynomial(0b111).suits_chunker());
    }

    #[test]
    fn random_polynomials_differ_and_suit_the_chunker() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut source = || random.u64(..);
        let first = Polynomial::random(&mut source).unwrap();
        let second = Polynomial::random(&mut source).unwrap();
        assert!(first.suits_chunker() && second.suits_chunker() && first != second);
    }

    #[test]
    fn a_broken_random_source_is_an_error_and_no_endless_loop() {
        assert!(Polynomial::random(&mut || 0).is_err());
    }

    #[test]
    fn multiplication_distributes_over_addition() {
        let modulus = Polynomial(0x3d_a335_8b4d_c173);
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..500 {
            let [a, b, c] = [(); 3].map(|()| Polynomial(random.u64(..)));
            let sum = Polynomial(b.0 ^ c.0);
            let parts = a.multiply_modulo(b, modulus).0 ^ a.multiply_modulo(c, modulus).0;
            assert_eq!(a.multiply_modulo(sum, modulus).0, parts);
            assert_eq!(a.multiply_modulo(b, modulus), b.multiply_modulo(a, modulus));
        }
    }

    #[test]
    fn what_is_no_hex_number_is_no_polynomial() {
        for text in ["", "+3da", "-1", "0x3d", "3da3358b4dc17300ff", "xyz", " 3"] {
            assert!(text.parse::<Polynomial>().is_err(), "{text}");
        }
    }
}
