# SPDX-License-Identifier: BSD-3-Clause
# Draws rate and cost side by side; bench/plots sets data, output, nr_blocks,
# x_label, rate_label and the tics of x.

set terminal svg size 880,350 font 'sans-serif,12' background 'white'
set output output
set multiplot

# Told apart by shape, too.
array colour[5] = ['#555555', '#d55e00', '#0072b2', '#009e73', '#cc79a7']
array shape[5] = [4, 7, 5, 9, 13]

set logscale xy
set autoscale noextend
set grid xtics ytics linecolor rgb '#dddddd' linetype 1
set border 3 linecolor rgb '#666666'
set tics nomirror textcolor rgb '#222222'
set ytics (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, \
  5000, 10000)
set xlabel x_label offset 0,0.4
set xtics font ',11'
set offsets graph 0.02, graph 0.02, graph 0.04, graph 0.04
set tmargin at screen 0.90
set bmargin at screen 0.26
set key off

set title rate_label offset 0,-0.5
set lmargin at screen 0.065
set rmargin at screen 0.485
plot for [i = 0 : nr_blocks - 1] data index i skip 1 using 1:2 \
  with linespoints linecolor rgb colour[i + 1] pointtype shape[i + 1] \
  pointsize 0.6 linewidth (i == 1 ? 2.5 : 1.5)

set title "server's CPU time, microseconds a request" offset 0,-0.5
set lmargin at screen 0.565
set rmargin at screen 0.985
plot for [i = 0 : nr_blocks - 1] data index i skip 1 using 1:5 \
  with linespoints linecolor rgb colour[i + 1] pointtype shape[i + 1] \
  pointsize 0.6 linewidth (i == 1 ? 2.5 : 1.5)

# The key of both, across the page.
set lmargin at screen 0
set rmargin at screen 1
set tmargin at screen 0.12
set bmargin at screen 0
unset logscale
unset title
unset xlabel
unset tics
unset border
unset offsets
set xrange [0:1]
set yrange [0:1]
set key at screen 0.5,0.05 center center horizontal samplen 2 width 2
plot for [i = 0 : nr_blocks - 1] data index i using (-1):(-1) \
  title columnheader(1) \
  with linespoints linecolor rgb colour[i + 1] pointtype shape[i + 1] \
  pointsize 0.6 linewidth (i == 1 ? 2.5 : 1.5)
unset multiplot
