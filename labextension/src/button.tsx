import type { LabIcon } from '@jupyterlab/ui-components';
import { Button } from '@jupyterlab/ui-components';
import * as React from 'react';

interface IProps {
  icon: LabIcon;
  /** What it does, for the tooltip and for screen readers. */
  label: string;
  /** It opens a menu. */
  hasMenu?: boolean;
  onClick: (event: React.MouseEvent<HTMLElement>) => void;
}

/** A small button that shows an icon alone. */
export function IconButton(props: IProps): React.ReactElement {
  return (
    <Button
      minimal
      small
      className="jp-Loops-button"
      title={props.label}
      aria-label={props.label}
      aria-haspopup={props.hasMenu ? 'menu' : undefined}
      onClick={props.onClick}
    >
      <props.icon.react tag="span" width="16px" height="16px" />
    </Button>
  );
}
