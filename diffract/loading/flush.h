#pragma once

namespace diffract::loading {

/// The CPU's part of flush(), and what brings weights to a device.
void flush_host();
/// Gives back what libtorch and the layers keep for their next call; what a model or a tensor holds goes with
/// that object.
void flush();

}  // namespace diffract::loading
