//! virtio over MMIO with the `virtio-drivers` crate: memory is mapped one to one, and the VM's RAM is where its
//! addresses say (the manifest's `dma = "trusted"`), so that a device reaches it without translation.

use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

pub use virtio_drivers::device::console::VirtIOConsole;
use virtio_drivers::transport::mmio::{MmioTransport, VirtIOHeader};
use virtio_drivers::transport::{DeviceType, Transport};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

use crate::platform;

/// Bytes of registers of one transport of the `virt` machine.
const TRANSPORT: usize = 0x200;
/// Pages for queues: two of a console, with room for the legacy layout's two pages each.
const DMA_PAGES: usize = 16;

#[repr(C, align(4096))]
struct DmaPages(UnsafeCell<[[u8; PAGE_SIZE]; DMA_PAGES]>);

// SAFETY: pages are given out once each (`NEXT`), and reached only through what was given out.
unsafe impl Sync for DmaPages {}

static PAGES: DmaPages = DmaPages(UnsafeCell::new([[0; PAGE_SIZE]; DMA_PAGES]));
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// The identity mapping, as the driver crate wants it.
pub struct Identity;

// SAFETY: `dma_alloc` gives out zeroed, page-aligned pages of a static once each; addresses are the same for CPU and
// device, and coherent (QEMU, and any coherent interconnect).
unsafe impl Hal for Identity {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let first = NEXT.fetch_add(pages, Ordering::Relaxed);
        assert!(first + pages <= DMA_PAGES, "out of DMA pages");
        let start = PAGES.0.get().cast::<u8>().wrapping_add(first * PAGE_SIZE);
        (start as PhysAddr, NonNull::new(start).unwrap_or(NonNull::dangling()))
    }

    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        0 // pages are not used again
    }

    unsafe fn mmio_phys_to_virt(address: PhysAddr, _: usize) -> NonNull<u8> {
        NonNull::new(address as *mut u8).unwrap_or(NonNull::dangling())
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.cast::<u8>().as_ptr() as PhysAddr
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

/// A console device.
pub type Console = VirtIOConsole<Identity, MmioTransport<'static>>;

/// The first virtio console of the device tree, with its interrupt.
pub fn console() -> Option<(Console, u32)> {
    platform::get().virtio().iter().find_map(|&(address, intid)| {
        let header = NonNull::new(address as *mut VirtIOHeader)?;
        // SAFETY: the device tree says that a transport's registers are there; each is opened once.
        let transport = unsafe { MmioTransport::new(header, TRANSPORT) }.ok()?;
        if transport.device_type() != DeviceType::Console {
            return None;
        }
        Some((Console::new(transport).ok()?, intid))
    })
}
