//! An adapter's device, and what becomes of it: limits, lost devices, failures.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_channel::oneshot;
use wgpu::{BufferUsages, ErrorFilter, Features, Limits};

use crate::error::{Error, Result};

/// Upper bounds on what is taken from the adapter; whatever it offers by default. Tests stand in for lesser
/// adapters by these.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Caps {
    /// Whether f16 may be used.
    pub f16: bool,
    /// Bytes of one buffer.
    pub buffer_bytes: u64,
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    /// Invocations in a workgroup.
    pub workgroup_size: u32,
    /// Workgroups along one dimension of a dispatch.
    pub workgroups: u32,
}

impl Default for Caps {
    fn default() -> Self {
        Caps {
            f16: true,
            // Twice of what a full chunk needs in f32, so that chunks are cut by tokens on any real GPU.
            buffer_bytes: 512 << 20,
            workgroup_bytes: 16 << 10,
            workgroup_size: 256,
            workgroups: 65_535,
        }
    }
}

/// A device and its queue.
pub(super) struct Gpu {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    /// The adapter's name; empty in a browser.
    pub adapter: String,
    pub f16: bool,
    pub limits: Limits,
    troubles: Arc<Troubles>,
}

/// What went wrong outside of any call, and who waits for the device.
#[derive(Default)]
struct Troubles {
    lost: Mutex<Option<String>>,
    waiting: Mutex<Vec<Weak<Signal>>>,
}

/// Tells once, whoever is first.
struct Signal(Mutex<Option<oneshot::Sender<()>>>);

impl Signal {
    fn tell(&self) {
        if let Some(sender) = lock(&self.0).take() {
            // Nobody listens any more where a call was dropped.
            let _ = sender.send(());
        }
    }
}

/// What a mutex holds; nothing that could panic runs under ours.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn gpu_error(code: &'static str, what: impl ToString) -> Error {
    Error::Gpu { code, what: what.to_string() }
}

pub(super) fn limits_error(what: impl ToString) -> Error {
    gpu_error("gpu_limits", what)
}

pub(super) fn lost_error(what: impl ToString) -> Error {
    gpu_error("device_lost", what)
}

impl Gpu {
    /// The device of the fastest adapter.
    pub async fn open(caps: &Caps) -> Result<Self> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        let adapter =
            instance.request_adapter(&options).await.map_err(|error| gpu_error("no_adapter", error))?;
        let f16 = caps.f16 && adapter.features().contains(Features::SHADER_F16);
        let limits = wanted_limits(caps, &adapter.limits());
        let descriptor = wgpu::DeviceDescriptor {
            required_features: if f16 { Features::SHADER_F16 } else { Features::empty() },
            required_limits: limits.clone(),
            // Blocks of memory of the size of our buffers, not of a game's.
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        };
        let (device, queue) =
            adapter.request_device(&descriptor).await.map_err(|error| gpu_error("gpu_failed", error))?;
        let troubles = Arc::new(Troubles::default());
        let watch = Arc::clone(&troubles);
        device.set_device_lost_callback(move |_, message| watch.lose(message));
        // Errors are asked for by scopes. What comes outside of one is the aftermath of a lost device.
        device.on_uncaptured_error(Arc::new(|_| {}));
        // Browsers that do not tell throw, which wgpu does not catch: there the bindings ask (`wasm::gpu`).
        let adapter = if cfg!(target_arch = "wasm32") { String::new() } else { adapter.get_info().name };
        Ok(Gpu { device, queue, adapter, f16, limits, troubles })
    }

    /// Fails if the device was lost.
    pub fn alive(&self) -> Result<()> {
        match &*lock(&self.troubles.lost) {
            Some(why) => Err(lost_error(why)),
            None => Ok(()),
        }
    }

    /// Loses the device, for tests of what happens then.
    pub fn destroy(&self) {
        self.device.destroy();
        // Natively the callback comes with the next poll only, if at all.
        self.troubles.lose("destroyed".to_owned());
    }

    pub fn buffer(&self, label: &str, bytes: u64, usage: BufferUsages) -> wgpu::Buffer {
        let descriptor =
            wgpu::BufferDescriptor { label: Some(label), size: bytes, usage, mapped_at_creation: false };
        self.device.create_buffer(&descriptor)
    }

    /// Runs what creates or submits, and says whether the device accepted it once that is known.
    pub fn checked<T, W: FnOnce() -> T>(&self, work: W) -> (T, impl Future<Output = Result<()>> + use<T, W>) {
        let filters = [ErrorFilter::Internal, ErrorFilter::Validation, ErrorFilter::OutOfMemory];
        let [internal, validation, memory] = filters.map(|filter| self.device.push_error_scope(filter));
        let value = work();
        // All are popped now, innermost first, and only their answers waited for.
        let answers = (memory.pop(), validation.pop(), internal.pop());
        let verdict = async {
            let (memory, validation, internal) = (answers.0.await, answers.1.await, answers.2.await);
            match (memory, validation.or(internal)) {
                (Some(error), _) => Err(gpu_error("gpu_out_of_memory", error)),
                (None, Some(error)) => Err(gpu_error("gpu_failed", error)),
                (None, None) => Ok(()),
            }
        };
        (value, verdict)
    }

    /// The result of checked work after which the device may be lost, which explains any other failure.
    pub async fn verdict(&self, answer: impl Future<Output = Result<()>>) -> Result<()> {
        self.alive()?;
        let answer = answer.await;
        self.alive()?;
        answer
    }

    /// Waits natively for what was submitted; a browser comes back by itself.
    pub fn wait(&self) {
        if let Err(error) = self.device.poll(wgpu::PollType::wait_indefinitely()) {
            self.troubles.lose(error.to_string());
        }
    }

    /// Waits until `bytes` of a buffer are mapped, which is when all that was submitted is done, or the device is
    /// lost. Says whether they are.
    pub fn mapped(&self, buffer: &wgpu::Buffer, bytes: u64) -> impl Future<Output = bool> + use<> {
        let (sender, told) = oneshot::channel();
        let signal = Arc::new(Signal(Mutex::new(Some(sender))));
        {
            let mut waiting = lock(&self.troubles.waiting);
            waiting.retain(|other| other.strong_count() > 0);
            waiting.push(Arc::downgrade(&signal));
        }
        let done = Arc::new(Mutex::new(false));
        let set = Arc::clone(&done);
        buffer.map_async(wgpu::MapMode::Read, ..bytes, move |result| {
            *lock(&set) = result.is_ok();
            signal.tell();
        });
        // Lost before it was listed: nobody else would tell.
        let lost = self.alive().is_err();
        async move {
            if !lost {
                // A sender that was dropped has nothing more to tell either.
                let _ = told.await;
            }
            *lock(&done)
        }
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // Browsers would keep its memory until their garbage is collected.
        self.device.destroy();
    }
}

impl Troubles {
    fn lose(&self, message: String) {
        let why = if message.is_empty() { "the device was lost".to_owned() } else { message };
        lock(&self.lost).get_or_insert(why);
        for signal in lock(&self.waiting).drain(..) {
            if let Some(signal) = signal.upgrade() {
                signal.tell();
            }
        }
    }
}

/// What is asked of the device: no more than the shaders and the largest chunk can use, or the adapter has.
fn wanted_limits(caps: &Caps, offered: &Limits) -> Limits {
    Limits {
        max_storage_buffers_per_shader_stage: 4,
        max_storage_buffer_binding_size: caps.buffer_bytes.min(offered.max_storage_buffer_binding_size),
        max_buffer_size: caps.buffer_bytes.min(offered.max_buffer_size),
        max_compute_workgroup_storage_size: caps
            .workgroup_bytes
            .min(offered.max_compute_workgroup_storage_size),
        max_compute_invocations_per_workgroup: caps
            .workgroup_size
            .min(offered.max_compute_invocations_per_workgroup),
        max_compute_workgroup_size_x: caps.workgroup_size.min(offered.max_compute_workgroup_size_x),
        max_compute_workgroup_size_y: 1,
        max_compute_workgroup_size_z: 1,
        max_compute_workgroups_per_dimension: caps
            .workgroups
            .min(offered.max_compute_workgroups_per_dimension),
        // The least that wgpu knows, for all that is not computing.
        ..Limits::downlevel_webgl2_defaults()
    }
}
