//! Made-up embeddings for the recall test and the bench: clusters on the sphere, from a seed.

/// Splitmix64: enough randomness for data, and the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Nearly Gaussian: the sum of twelve uniform numbers, less its mean.
    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| (self.bits() >> 40) as f32 / (1u64 << 24) as f32).sum::<f32>() - 6.0
    }
}

/// A source of points around 200 centres, spread by 0.6 of the distance between components.
pub struct Clusters {
    random: Random,
    centres: Vec<Vec<f32>>,
}

impl Clusters {
    pub fn new(seed: u64, dimensions: usize) -> Self {
        let mut random = Random(seed);
        let centres = (0..200).map(|_| (0..dimensions).map(|_| random.normal()).collect()).collect();
        Clusters { random, centres }
    }

    pub fn point(&mut self) -> Vec<f32> {
        let Clusters { random, centres } = self;
        let centre = &centres[(random.bits() % centres.len() as u64) as usize];
        centre.iter().map(|c| c + 0.6 * random.normal()).collect()
    }

    pub fn points(&mut self, n: usize) -> Vec<Vec<f32>> {
        (0..n).map(|_| self.point()).collect()
    }
}
