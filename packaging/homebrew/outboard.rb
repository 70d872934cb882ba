# Homebrew's formula. Of a release archive (packaging/release.sh), whose kernels are compiled; `--HEAD`
# compiles them. The addresses are those of a place that is not there yet.
class Outboard < Formula
  desc "Language models on the GPU outside your Mac"
  homepage "https://github.com/outboard/outboard"
  url "https://github.com/outboard/outboard/releases/download/v0.1.0/outboard-0.1.0.tar.gz"
  sha256 "0000000000000000000000000000000000000000000000000000000000000000" # of the archive, when there is one
  license "MIT"
  head do
    url "https://github.com/outboard/outboard.git", branch: "main"
    depends_on "lld@19" => :build
    depends_on "llvm@19" => :build
  end

  depends_on "boost" => :build
  depends_on "cli11" => :build
  depends_on "cmake" => :build
  depends_on "ninja" => :build
  depends_on "nlohmann-json" => :build
  depends_on "pkgconf" => :build
  depends_on "curl"
  depends_on "fmt"
  depends_on "gumbo-parser"
  depends_on "libzip"
  depends_on "openssl@3"
  depends_on "pcre2"
  depends_on "sentencepiece"
  depends_on "utf8proc"
  depends_on "yaml-cpp"

  def install
    arguments = %w[-DOUTBOARD_TESTS=OFF]
    if build.head?
      arguments << "-DOUTBOARD_LLVM_BIN=#{Formula["llvm@19"].opt_bin}"
      arguments << "-DOUTBOARD_LLD_BIN=#{Formula["lld@19"].opt_bin}"
    end
    system "cmake", "-S", ".", "-B", "build", "-G", "Ninja", *arguments, *std_cmake_args
    system "cmake", "--build", "build"
    system "cmake", "--install", "build"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/outboard --version")
    assert_match "Serve models", shell_output("#{bin}/outboard serve --help")
  end
end
