import type { TranslationBundle } from '@jupyterlab/translation';
import { Button } from '@jupyterlab/ui-components';
import * as React from 'react';

import { Marked } from './marked';

interface IProps {
  trans: TranslationBundle;
  children: React.ReactNode;
}

/** Says that a part of the page could not be shown, and how to get it back; React alone would leave nothing there. */
export class Boundary extends React.Component<IProps, { hasFailed: boolean }> {
  override state = { hasFailed: false };

  static getDerivedStateFromError(): { hasFailed: boolean } {
    return { hasFailed: true };
  }

  override render(): React.ReactNode {
    const { trans, children } = this.props;
    return this.state.hasFailed ? (
      <Refused
        message={trans.__('The loops could not be shown: reload the page.')}
        trans={trans}
      />
    ) : (
      children
    );
  }
}

/** Something that only a new page can mend, with the button for it. */
export function Refused(props: {
  message: string;
  trans: TranslationBundle;
}): React.ReactElement {
  return (
    <div className="jp-Loops-message" role="alert">
      <p>
        <Marked text={props.message} />
      </p>
      <Button
        className="jp-mod-styled jp-mod-accept"
        onClick={() => window.location.reload()}
      >
        {props.trans.__('Reload')}
      </Button>
    </div>
  );
}
