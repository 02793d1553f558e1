import { LabIcon } from '@jupyterlab/ui-components';

import loopSvg from '../style/icons/loop.svg';

/** Two arrows that follow each other around a box: work in its own place. */
export const loopIcon = new LabIcon({
  name: 'loopat-jupyter:loop',
  svgstr: loopSvg
});
