# SPDX-License-Identifier: GPL-2.0-or-later
#
# The map of the nebulous middle, from the output of auto-converge-sim --map:
#
#     auto-converge-sim --map > map.txt
#     gnuplot -e "map='map.txt'" -c sim/map/auto-converge-map.gp class OUT.svg
#     gnuplot -e "map='map.txt'" -c sim/map/auto-converge-map.gp cost OUT.svg
#
# class: what kind of guest it is, and how each controller ends.
# cost: the highest throttle and the share of the guest's work that is lost,
# from the first pass to the end, or until the run without end was cut off.

set terminal svg size 960,760 font "sans,12" background "white"
set output ARG2
set xrange [-2.25:8.25]
set yrange [-8.25:0.25]
set xtics ("1/4" -2, "1" 0, "4" 2, "16" 4, "64" 6, "256" 8)
set ytics ("1/256" -8, "1/64" -6, "1/16" -4, "1/4" -2, "1" 0)
set xlabel "dirty rate / link"
set ylabel "working set / RAM"
unset key
set style fill solid noborder
dx = 0.25
dy = 0.25

# column, colours and labels of the panels
if (ARG1 eq "class") {
    set multiplot layout 2,2
    set palette defined (0 "#d9ead3", 1 "#f6b26b", 2 "#990000") maxcolors 3
    set cbrange [-0.5:2.5]
    set cbtics ("calm" 0, "middle" 1, "hopeless" 2)
    set title "What can be done: by the oracle"
    plot map using 1:2:(dx):(dy):3 with boxxyerror lc palette
    set palette defined (0 "#6aa84f", 1 "#3d85c6", 2 "#333333") maxcolors 3
    set cbtics ("ends" 0, "stopped" 1, "never" 2)
    set title "Counter: how it ends"
    plot map using 1:2:(dx):(dy):5 with boxxyerror lc palette
    set title "Adaptive: how it ends"
    plot map using 1:2:(dx):(dy):8 with boxxyerror lc palette
    set palette defined (0 "#ffffff", 0.2 "#9fc5e8", 1 "#0b5394", 2 "#990000") \
        maxcolors 256
    set cbrange [0:2]
    set cbtics auto
    set title "Time after the bulk pass, adaptive / counter"
    plot map using 1:2:(dx):(dy):11 with boxxyerror lc palette
} else {
    set multiplot layout 2,2
    set palette defined (0 "#ffffff", 500 "#ffe599", 900 "#e69138", 990 "#660000")
    set cbrange [0:990]
    set title "Counter: highest throttle (permille)"
    plot map using 1:2:(dx):(dy):6 with boxxyerror lc palette
    set title "Adaptive: highest throttle (permille)"
    plot map using 1:2:(dx):(dy):9 with boxxyerror lc palette
    set palette defined (0 "#ffffff", 0.1 "#9fc5e8", 0.5 "#674ea7", 1 "#20124d")
    set cbrange [0:1]
    set title "Counter: share of guest work lost"
    plot map using 1:2:(dx):(dy):7 with boxxyerror lc palette
    set title "Adaptive: share of guest work lost"
    plot map using 1:2:(dx):(dy):10 with boxxyerror lc palette
}
unset multiplot
