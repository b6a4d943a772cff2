#include "diffract/weights/ring_place.h"

#include <algorithm>

namespace diffract::weights {

RingPlace::RingPlace(const Part& part, uint64_t newest, uint64_t ring_bytes)
    : wraps_at_(part.tensors.size()) {
  if (part.tensors.empty()) return;
  size_t fitting = 0;
  while (fitting < part.tensors.size() && newest + part.tensors[fitting].pages().end <= ring_bytes) ++fitting;
  if (fitting == 0) return;
  const bool fits = fitting == part.tensors.size();
  if (!fits && part.tensors.back().pages().end - part.tensors[fitting].pages().begin > newest) return;
  begin_ = newest;
  wraps_at_ = fitting;
}

Stretch RingPlace::pages(const Part& part, size_t tensor) const {
  const Stretch pages = part.tensors[tensor].pages();
  const uint64_t base = tensor < wraps_at_ ? 0 : part.tensors[wraps_at_].pages().begin;
  const uint64_t shift = tensor < wraps_at_ ? begin_ : 0;
  return {pages.begin - base + shift, pages.end - base + shift};
}

bool RingPlace::has_claimed(const Part& part, const Stretch& wanted) const {
  const auto overlaps = [&](size_t first, size_t last) {
    return first < last && Stretch{pages(part, first).begin, pages(part, last - 1).end}.overlaps(wanted);
  };
  return overlaps(0, std::min(wraps_at_, claimed_)) || overlaps(wraps_at_, claimed_);
}

uint64_t RingPlace::end(const Part& part) const {
  return claimed_ == 0 ? begin_ : pages(part, claimed_ - 1).end;
}

}  // namespace diffract::weights
