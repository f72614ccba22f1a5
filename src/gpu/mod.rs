//! The encoder on the GPU: BERT's layers as compute shaders, through wgpu.
//!
//! The rows of all texts of a batch lie one after another, so that linear layers, nine tenths of the
//! arithmetic, compute no padding; attention works within each text. A chunk of a batch is one submission
//! of some 45 dispatches, and nothing is read back but the embeddings of the whole batch.
//!
//! Hidden states are f32 throughout and updated in place; what goes from one product into the next is f16
//! where the adapter has it. Buffers grow by powers of two and are kept, with everything bound to them.

mod device;
mod kernels;
mod plan;
mod steps;
mod weights;

use std::sync::Mutex;

use wgpu::{BufferUsages, CommandEncoderDescriptor};

use crate::encode::{Encoder, TokenBatch};
use crate::error::Result;

use device::{Gpu, limits_error, lock};
use kernels::Kernels;
use plan::chunks;
use steps::{Model, Workspace};
use weights::Weights;

pub use device::Caps;
pub use weights::Precision;

/// Tokens from which on a longer chunk makes no GPU busier. Its buffers take 180 MB (f16) to 300 MB.
const MOST_TOKENS: usize = 32_768;

/// Texts whose embeddings are read back together.
const MOST_TEXTS: usize = 8192;

/// A BERT encoder of heads of 32 dimensions, such as all-MiniLM-L6-v2, on the fastest GPU there is.
///
/// Once the device is lost, every call returns the code `device_lost`; a new encoder may find a new one.
pub struct GpuEncoder {
    gpu: Gpu,
    model: Model,
    precision: Precision,
    /// The most tokens of a chunk.
    most_tokens: usize,
    /// The buffers of a chunk, made by the first.
    workspace: Mutex<Option<Workspace>>,
    /// Read-back buffers that no call is using.
    idle: Mutex<Vec<wgpu::Buffer>>,
}

impl GpuEncoder {
    /// Opens a packed encoder (`encoder.safetensors`) on the GPU.
    ///
    /// Fails with [`Error::Artifact`](crate::Error::Artifact) for a bad file, and with
    /// [`Error::Gpu`](crate::Error::Gpu) where there is no adapter, or one that is too small for the weights.
    pub async fn new(packed: &[u8]) -> Result<Self> {
        Self::with_caps(packed, &Caps::default()).await
    }

    /// The same on an adapter of which no more is taken than `caps`.
    #[doc(hidden)]
    pub async fn with_caps(packed: &[u8], caps: &Caps) -> Result<Self> {
        let weights = Weights::open(packed)?;
        let gpu = Gpu::open(caps).await?;
        let shape = weights.shape.clone();
        let precision = match (shape.int8, gpu.f16) {
            (true, _) => Precision::Int8,
            (false, true) => Precision::F16,
            (false, false) => Precision::F32,
        };
        let row = shape.inner.max(3 * shape.width) * if gpu.f16 { 2 } else { 4 };
        let binding = gpu.limits.max_storage_buffer_binding_size.min(gpu.limits.max_buffer_size);
        let most_tokens = MOST_TOKENS
            .min(binding as usize / row.max(4 * shape.width))
            .min(gpu.limits.max_compute_workgroups_per_dimension as usize);
        let longest = shape.positions;
        let largest = shape.words * shape.width * precision.bytes();
        if largest as u64 > binding || most_tokens < longest {
            return Err(limits_error(format!(
                "buffers of {binding} bytes are too small for {largest} bytes of word vectors or a text of {longest} tokens"
            )));
        }
        let (made, verdict) = gpu.checked(|| -> Result<Model> {
            let kernels = Kernels::new(&gpu, &shape, precision)?;
            Model::upload(&gpu, &weights, kernels, precision)
        });
        gpu.verdict(verdict).await?;
        let (workspace, idle) = (Mutex::new(None), Mutex::new(Vec::new()));
        Ok(GpuEncoder { model: made?, gpu, precision, most_tokens, workspace, idle })
    }

    /// The adapter's name; empty in a browser.
    pub fn adapter(&self) -> &str {
        &self.gpu.adapter
    }

    /// The browser's device.
    #[cfg(target_arch = "wasm32")]
    pub(crate) fn webgpu_device(&self) -> Option<&wgpu::webgpu::GpuDevice> {
        self.gpu.device.as_webgpu()
    }

    /// In what format the weights are kept.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Loses the device, for tests of what happens then.
    #[doc(hidden)]
    pub fn destroy_device(&self) {
        self.gpu.destroy();
    }

    /// Makes sure of buffers for chunks of so many tokens and so many texts in all.
    fn fit<'w>(&self, kept: &'w mut Option<Workspace>, tokens: usize, texts: usize) -> &'w Workspace {
        let had = kept.take();
        let (had_tokens, had_texts) = had.as_ref().map_or((64, 8), |had| (had.tokens, had.texts));
        kept.insert(match had {
            Some(had) if had.tokens >= tokens && had.texts >= texts => had,
            had => {
                // The old buffers go first: both may be too much.
                drop(had);
                let tokens = tokens.next_power_of_two().min(self.most_tokens).max(had_tokens);
                Workspace::new(&self.gpu, &self.model, tokens, texts.next_power_of_two().max(had_texts))
            }
        })
    }

    /// Computes a batch into a buffer that can be mapped.
    fn submit(&self, batch: &TokenBatch) -> wgpu::Buffer {
        let chunks = chunks(batch, self.most_tokens);
        let longest = chunks.iter().map(|chunk| chunk.tokens.len()).max().unwrap_or_default();
        // Held until all is submitted, so that calls of other threads do not write in between.
        let mut kept = lock(&self.workspace);
        let workspace = self.fit(&mut kept, longest, batch.texts());
        let bytes = self.bytes(batch);
        let readback = self.readback(bytes);
        for (i, chunk) in chunks.iter().enumerate() {
            workspace.write(&self.gpu, chunk);
            let mut encoder = self.gpu.device.create_command_encoder(&CommandEncoderDescriptor::default());
            workspace.encode(&mut encoder, &self.model, chunk);
            if i + 1 == chunks.len() {
                encoder.copy_buffer_to_buffer(&workspace.embeddings, 0, &readback, 0, bytes);
            }
            self.gpu.queue.submit([encoder.finish()]);
        }
        readback
    }

    /// Bytes of a batch's embeddings.
    fn bytes(&self, batch: &TokenBatch) -> u64 {
        (batch.texts() * self.model.shape.width * size_of::<f32>()) as u64
    }

    /// A buffer to read so many bytes from, that this call has for itself.
    fn readback(&self, bytes: u64) -> wgpu::Buffer {
        let mut idle = lock(&self.idle);
        if let Some(at) = idle.iter().position(|buffer| buffer.size() >= bytes) {
            return idle.swap_remove(at);
        }
        // Whatever lies here is too small: what replaces it serves the next calls as well.
        idle.clear();
        self.gpu.buffer(
            "read-back",
            bytes.next_power_of_two(),
            BufferUsages::MAP_READ | BufferUsages::COPY_DST,
        )
    }

    async fn compute(&self, batch: &TokenBatch) -> Result<Vec<f32>> {
        let bytes = self.bytes(batch);
        let ((readback, mapping), verdict) = self.gpu.checked(|| {
            let readback = self.submit(batch);
            let mapping = self.gpu.mapped(&readback, bytes);
            (readback, mapping)
        });
        self.gpu.wait();
        let mapped = mapping.await;
        self.gpu.verdict(verdict).await?;
        if !mapped {
            // Not for anything that we did wrong, so that only this is left; its message may be under way.
            return Err(device::lost_error("the device was lost while it computed"));
        }
        let lost = |error: wgpu::MapRangeError| device::lost_error(error);
        let view = readback.get_mapped_range(..bytes).map_err(lost)?;
        let embeddings = bytemuck::pod_collect_to_vec(&view[..]);
        drop(view);
        readback.unmap();
        lock(&self.idle).push(readback);
        Ok(embeddings)
    }
}

impl Encoder for GpuEncoder {
    fn dimensions(&self) -> usize {
        self.model.shape.width
    }

    async fn embed(&self, batch: &TokenBatch) -> Result<Vec<f32>> {
        self.gpu.alive()?;
        batch.check(self.model.shape.words, self.model.shape.positions)?;
        let mut embeddings = Vec::with_capacity(batch.texts() * self.dimensions());
        for part in batch.parts(MOST_TEXTS) {
            let computed = self.compute(&part).await;
            if computed.is_err() {
                // Buffers that could not be made would be used again.
                *lock(&self.workspace) = None;
                lock(&self.idle).clear();
            }
            embeddings.extend(computed?);
        }
        Ok(embeddings)
    }
}
