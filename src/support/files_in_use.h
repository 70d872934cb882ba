// Which files this program reads and which it writes, so that none is both: whoever writes over
// what he still reads loses it. Files are told apart by device and inode, so that no link, hard
// link or descriptor hides one; only regular files count (everybody may share a terminal or a
// pipe).
//
// A program says watch_files() once; before that nothing is noted: who uses Outboard as a library
// may open a model, close it and write to its path. Thread-safe.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace outboard {

void watch_files();

// An open file that is read, and what it is called in messages. Throws Error when it is to be
// written.
void note_read(int descriptor, const std::string& name);

// A path that will be written, before anything is read. what: by which option ("--record"), or "".
// Throws Error when the file there is read, or when another option named it.
void claim_output(const std::filesystem::path& path, std::string_view what);
// An open file that is written: standard output, say. Throws Error when it is read.
void claim_output(int descriptor, const std::string& name);
// Throws Error when the file at the path, if there is one, is read.
void check_not_read(const std::filesystem::path& path);

}  // namespace outboard
