import { LabIcon } from '@jupyterlab/ui-components';

import loopFilesSvg from '../style/icons/loop-files.svg';
import loopSvg from '../style/icons/loop.svg';

/** Two arrows that follow each other around a box: work in its own place. */
export const loopIcon = new LabIcon({
  name: 'loopat-jupyter:loop',
  svgstr: loopSvg
});

/** A folder with a ring in it: what lies in loops, beside the folder of the server's own files. */
export const loopFilesIcon = new LabIcon({
  name: 'loopat-jupyter:loop-files',
  svgstr: loopFilesSvg
});
