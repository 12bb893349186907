//! Feature bits that every device has.

/// `VIRTIO_F_INDIRECT_DESC`: offered and handled by the transport and the queues for every device.
pub const F_INDIRECT_DESC: u64 = 1 << 28;
/// `VIRTIO_F_EVENT_IDX`: offered and handled by the transport and the queues for every device.
pub const F_EVENT_IDX: u64 = 1 << 29;
/// `VIRTIO_F_VERSION_1`: offered for every device, and the driver must accept it.
pub const F_VERSION_1: u64 = 1 << 32;
