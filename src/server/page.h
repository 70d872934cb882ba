// The files of the chat page, embedded.
#pragma once

#include <span>
#include <string_view>

namespace outboard::server {

struct PageFile {
  std::string_view name;  // "index.html"
  std::string_view content;
};
std::span<const PageFile> page_files();
std::string_view content_type_of(std::string_view name);

}  // namespace outboard::server
