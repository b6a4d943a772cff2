// fmt's functions that are not templates, compiled once for all; the torch wheel ships fmt's headers only.
// What is instantiated here is what the headers declare `extern`.
#include <fmt/format-inl.h>

namespace fmt {
inline namespace v12 {

template std::locale locale_ref::get<std::locale>() const;

namespace detail {

template auto dragonbox::to_decimal(float) noexcept -> dragonbox::decimal_fp<float>;
template auto dragonbox::to_decimal(double) noexcept -> dragonbox::decimal_fp<double>;
template auto thousands_sep_impl(locale_ref) -> thousands_sep_result<char>;
template auto decimal_point_impl(locale_ref) -> char;
template void buffer<char>::append(const char*, const char*);

}  // namespace detail
}  // namespace v12
}  // namespace fmt
