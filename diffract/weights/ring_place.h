#pragma once
#include <cstddef>
#include <cstdint>

#include "diffract/weights/part.h"

namespace diffract::weights {

/// Where a part's tensors lie in a ring of memory, in whole pages: one behind the other, the last of them
/// from the ring's begin on where its end comes first. They take their room one by one, as the parts before
/// them leave it.
class RingPlace {
 public:
  RingPlace() = default;
  /// Behind byte `newest` of the ring; from its begin where the part does not fit so. The ring has the whole
  /// pages of at least this part.
  RingPlace(const Part& part, uint64_t newest, uint64_t ring_bytes);

  /// Of the ring, for the tensor.
  Stretch pages(const Part& part, size_t tensor) const;
  /// The tensors up to this one lie in one stretch with the first, those from it on in another.
  size_t wraps_at() const { return wraps_at_; }

  /// Room for the next tensor is taken.
  void claim() { ++claimed_; }
  size_t claimed() const { return claimed_; }
  /// Whether what is taken overlaps `pages` of the ring.
  bool has_claimed(const Part& part, const Stretch& pages) const;
  /// Of the ring, behind what is taken.
  uint64_t end(const Part& part) const;

 private:
  uint64_t begin_ = 0;
  size_t wraps_at_ = 0, claimed_ = 0;
};

}  // namespace diffract::weights
