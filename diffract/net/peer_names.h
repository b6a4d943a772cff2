#pragma once

namespace diffract::net {

/// Keeps c10d from asking DNS for the names of peers, in any program that calls this.
void keep_peers_numeric();

}  // namespace diffract::net
